"""Requirements and their options: which are understood, and which are refused by name."""

from pathlib import Path

import pytest
from gym_service_launcher.config.entry import entry
from gym_service_launcher.config.requirements import Requirements, from_file, from_items
from gym_service_launcher.config.validation import Location
from gym_service_launcher.errors import ConfigError


def read(folder: Path, *items: str) -> Requirements:
    return from_items(items, Location(None, folder, "here"))


def test_each_kind_of_item_is_told_apart(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "numpy<2",
        "./repo[sim]",
        "name @ ./repo",
        "-e ./other",
        "name @ git+https://host/repo@main",
        "--extra-index-url=https://index",
        "-i https://first",
        "--no-binary a, b",
        "--pre",
    )
    assert found.words == ("numpy<2", "name @ git+https://host/repo@main")
    assert found.local == (("./repo[sim]",), ("name @ ./repo",), ("-e", "./other"))
    assert found.options == (
        ("--extra-index-url", "https://index"),
        ("--index-url", "https://first"),
        ("--no-binary", "a"),
        ("--no-binary", "b"),
        ("--pre",),
    )


@pytest.mark.parametrize(
    ("item", "what"),
    [
        ("--user", '"--user" is an option that is not supported here; known are -e, -r, -c, -i, -f, --extra-index-url'),
        ("-U numpy", '"-U" is an option that is not supported here'),
        ("--pre yes", '"--pre" takes no value'),
        ("-e", '"-e" needs a value'),
        ("--index-url", '"--index-url" needs a value'),
    ],
)
def test_an_option_that_is_not_understood_is_refused_by_name_and_place(item: str, what: str) -> None:
    with pytest.raises(ConfigError) as error:
        entry("X-v0", {"python": "3.10", "requires": ["numpy", item]})
    assert str(error.value).startswith(f'given in Python for "X-v0": requires[1]: {what}')


def test_files_are_read_with_the_files_that_they_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INDEX_TOKEN", "s3cret")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/all.txt").write_text(
        "\ufeff# all of it\r\nnumpy==1.24.4 \\\r\n  --hash=sha256:ab\r\n-r more.txt # and more\r\n-c limits.txt\r\n"
        "--extra-index-url https://${INDEX_TOKEN}@index/${unknown}\r\n",
        encoding="utf-8",
    )
    (tmp_path / "lists/more.txt").write_text("-e ../repo\n./wheel.whl ; python_version > '3'\n")
    (tmp_path / "lists/limits.txt").write_text("mujoco<3\n")
    found = from_file(tmp_path / "lists/all.txt", Location(None, tmp_path, "here"))
    assert [" ".join(line.split()) for line in found.lines] == ["numpy==1.24.4 --hash=sha256:ab"]
    assert found.local == (
        ("-e", f"{tmp_path}/repo"),
        (f"{tmp_path}/lists/wheel.whl ; python_version > '3'",),
    )
    assert found.constraints == ("mujoco<3",)
    assert found.options == (("--extra-index-url", "https://s3cret@index/${unknown}"),)


def test_a_mistake_in_a_file_names_its_line(tmp_path: Path) -> None:
    file = tmp_path / "all.txt"
    file.write_text("numpy \\\n <2\n\n--user\n")
    with pytest.raises(ConfigError, match=f'^{file}: line 4: "--user" is an option'):
        read(tmp_path, "-r all.txt")
    file.write_text("-r all.txt\n")
    with pytest.raises(ConfigError, match="includes itself"):
        read(tmp_path, "-r all.txt")
    with pytest.raises(ConfigError, match=r"gone\.txt cannot be read: No such file"):
        read(tmp_path, "-r gone.txt")


def test_what_has_no_effect_without_a_venv_is_refused() -> None:
    for key, value in {"constraints": ["a<1"], "build_requires": ["a"], "post": [["a"]]}.items():
        with pytest.raises(ConfigError, match=f"{key}: has no effect without requires, requirements or project"):
            entry("X-v0", {"python": "3.10", key: value})
