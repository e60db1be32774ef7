"""Broken entries as users write them, with the cause and the advice that each must get.

Each message is here in full, as a newcomer reads it. {python} is the interpreter, {folder} that of envs.toml, {broken}
the folder of the simulators. Never knows how the messages are made. Python 3.10 and up.
"""

from typing import NamedTuple

REACH = 'id = "arms/Reach-v0"\nimports = ["arms"]\n'
GL = "libegl1 libgl1 libgles2 libosmesa6 libglu1-mesa"
GL_ADVICE = f'apt-get install {GL}; and environ = {{ MUJOCO_GL = "egl" }} ("osmesa" without a GPU driver)'
# What a remote host prints if it lacks that Python, between a banner and ssh's closing line.
SSH = (
    "echo Welcome to sim-host >&2; echo 'bash: line 1: /opt/sim/bin/python: No such file or directory' >&2; "
    "echo 'Connection to sim-host closed.' >&2; exit 127"
)


class Broken(NamedTuple):
    """An entry and the message about it. ``text`` is given if it states the cause itself.

    ``evidence``: a line that ``check`` shows below the error.
    ``is_made``: gym.make succeeds, and the failure comes later.
    """

    name: str
    keys: str
    check: str
    cause: str
    advice: str
    is_made: bool = False
    has_python: bool = True
    text: str = ""
    evidence: str = ""


BROKEN = (
    Broken(
        "WrongId-v0",
        'id = "arms/Raech-v0"\nimports = ["arms"]',
        "make",
        "{python} has no id 'arms/Raech-v0'; the nearest is 'arms/Reach-v0'",
        'id = "arms/Reach-v0"',
    ),
    Broken(
        "MissingImport-v0",
        'id = "arms/Reach-v0"',
        "make",
        "'arms/Reach-v0' is registered by the module arms, which is installed but not imported",
        'imports = ["arms"]',
    ),
    Broken(
        "MisspelledImport-v0",
        'id = "arms/Reach-v0"\nimports = ["amrs"]',
        "imports",
        "there is no module 'amrs' in {python}; the nearest is 'arms'",
        'imports = ["arms"]',
    ),
    Broken(
        "MissingPackage-v0",
        'id = "PandaReach-v3"\nimports = ["panda_gym"]',
        "imports",
        "the module 'panda_gym' is not installed in {python}",
        "uv pip install --python {python} panda-gym; or name the folder of panda_gym in pythonpath = […], "
        "if it is your own",
    ),
    Broken(
        "MissingDependency-v0",
        'imports = ["needs_missing"]',
        "imports",
        "the module 'no_such_dependency' is not installed in {python}, and needs_missing needs it",
        "uv pip install --python {python} no-such-dependency",
    ),
    Broken(
        "AsksAtImport-v0",
        'imports = ["asks"]',
        "make",
        "the simulator asks a question while it starts, and nobody can answer it in a server: "
        "'Download the ROMs? [y/N]'",
        "answer it once by hand: PYTHONPATH={broken} {python} -c 'import asks'",
    ),
    Broken(
        "BadKeyword-v0",
        f"{REACH}kwargs = {{ joint = 4 }}",
        "make",
        "the env takes no keyword 'joint'; it takes joints, render_mode",
        "kwargs = { joints = … }",
    ),
    Broken(
        "WrongEntryPoint-v0",
        'entry_point = "arms:Raech"',
        "make",
        "the module arms has no 'Raech'; the nearest is 'Reach'",
        'entry_point = "arms:Reach"',
    ),
    Broken(
        "WrongEntryPointModule-v0",
        'entry_point = "armz:Reach"',
        "imports",
        "there is no module 'armz' in {python}; the nearest is 'arms'",
        'entry_point = "arms:Reach"',
    ),
    Broken(
        "WrongRenderMode-v0",
        f'{REACH}kwargs = {{ render_mode = "rgb" }}',
        "make",
        'the env has no render mode "rgb"; it has "rgb_array", "ansi"',
        'render_mode = "rgb_array"',
    ),
    Broken(
        "NoLibraryOfOpenGL-v0",
        'entry_point = "arms:NoLibrary"',
        "make",
        "the library libOSMesa.so.99 of OpenGL is not installed on this machine",
        GL_ADVICE,
    ),
    Broken(
        "NoOpenGL-v0",
        'entry_point = "arms:NoOpenGL"',
        "render",
        "the simulator finds no OpenGL to draw with on this machine",
        GL_ADVICE,
        is_made=True,
    ),
    Broken(
        "NoDrawing-v0",
        'entry_point = "arms:NoDrawing"',
        "render",
        "the module 'no_such_drawing' is not installed in {python}, and arms needs it",
        "uv pip install --python {python} no-such-drawing",
        is_made=True,
        text="ImportError: Cannot import no_such_drawing.",
    ),
    Broken(
        "OwnWindow-v0",
        'entry_point = "arms:Window"\nenviron = { SDL_VIDEODRIVER = "x11" }',
        "make",
        "there is no display here, and the simulator wants to open a window",
        'render_mode = "rgb_array"; or ssh -X, or xvfb-run in front of the command, for a display',
    ),
    Broken(
        "Human-v0",
        f'{REACH}kwargs = {{ render_mode = "human" }}',
        "make",
        "",
        'gym-service record ENV -o FILE.mp4, or render_mode="rgb_array"',
        text='render_mode = "human": neither the simulator nor this process has a display',
    ),
    Broken(
        "Plugin-v0",
        'id = "plugged/Plugged-v0"',
        "make",
        "plugged registers 'plugged/Plugged-v0' by a plugin entry point, which gymnasium 1.4.0 no longer reads",
        'imports = ["plugged"]',
    ),
    Broken(
        "PkgResources-v0",
        'imports = ["wants_pkg_resources"]',
        "imports",
        "the simulator imports pkg_resources, which setuptools 81 and newer do not have",
        "uv pip install --python {python} 'setuptools<81'",
    ),
    Broken(
        "Mujoco4Assertion-v0",
        'entry_point = "dm_control:Suite"',
        "make",
        "the simulator was written for mujoco 3, and {python} has mujoco 4.0.0",
        "uv pip install --python {python} 'mujoco<4'",
    ),
    Broken(
        "Mujoco4Attribute-v0",
        'entry_point = "dm_control:OfModel"',
        "make",
        "the simulator was written for mujoco 3, and {python} has mujoco 4.0.0",
        "uv pip install --python {python} 'mujoco<4'",
    ),
    Broken(
        "Numpy2-v0",
        'entry_point = "arms:Numpy1Made"',
        "make",
        "the simulator was written for numpy 1, and {python} has numpy 2.0.2",
        "uv pip install --python {python} 'numpy<2'",
    ),
    Broken(
        "Numpy2InReset-v0",
        'entry_point = "arms:Numpy1"',
        "reset",
        "the simulator was written for numpy 1, and {python} has numpy 2.0.2",
        "uv pip install --python {python} 'numpy<2'",
        is_made=True,
    ),
    Broken(
        "NoNumpy-v0",
        'python = "{bare}"',
        "interpreter",
        "",
        "uv pip install --python {bare}/bin/python numpy",
        has_python=False,
        text="{bare}/bin/python (Python {version}) has no numpy",
    ),
    Broken(
        "NoRemotePython-v0",
        f'command = ["sh", "-c", "{SSH}", "ssh"]\npython = "/opt/sim/bin/python"',
        "make",
        "",
        'python = "…", the full path of an interpreter there; /opt/sim/bin/python does not run',
        has_python=False,
        text="the server of 'NoRemotePython-v0' did not start: sh: exit code 127: "
        "bash: line 1: /opt/sim/bin/python: No such file or directory",
    ),
    Broken(
        "NoToken-v0",
        'address = "tcp://127.0.0.1:{port}"',
        "make",
        "",
        "copy the token file of the server's machine to this path, with mode 0600 (gym-service token prints its path "
        "there); on one machine, start the server first, as the same user: it creates one",
        has_python=False,
        text="tcp://127.0.0.1:{port}: the token file {folder}/gym-service/token does not exist",
    ),
    Broken(
        "PackageForModule-v0",
        'imports = ["gym-arms"]',
        "imports",
        "'gym-arms' is the name of a package, and an import needs the name of a module",
        'imports = ["gym_arms"]',
    ),
    Broken(
        "FileForModule-v0",
        'imports = ["arms.py"]',
        "imports",
        "'arms.py' is the name of a file, and an import needs the name of a module",
        'imports = ["arms"]',
    ),
    Broken(
        "RemovedModule-v0",
        'imports = ["wants_imp"]',
        "imports",
        "Python {version} has no module 'imp' any more, and wants_imp needs it",
        "a Python older than 3.12 for this simulator",
        evidence="in <module>, {broken}/wants_imp.py, line 3: import imp  # noqa: F401",
    ),
    Broken(
        "ModuleOfAnotherVersion-v0",
        'imports = ["wants_monitoring"]',
        "imports",
        "gymnasium 1.4.0 in {python} has no module 'gymnasium.wrappers.monitoring': the simulator was written for "
        "another version",
        "the version of gymnasium that it was written for",
    ),
    Broken(
        "NameOfAnotherVersion-v0",
        'imports = ["wants_monitor"]',
        "imports",
        "gymnasium 1.4.0 in {python} has no gymnasium.wrappers.Monitor: the simulator was written for another version",
        "the version of gymnasium that it was written for",
    ),
    Broken(
        "OldCollections-v0",
        'imports = ["wants_collections"]',
        "imports",
        "the simulator was written for Python 3.9 or older: newer ones have no collections.Mapping",
        "a Python older than 3.10 for this simulator",
    ),
    Broken(
        "Unreadable-v0",
        'python = "{python}"\npythonpath = ["{folder}"]\nimports = ["unreadable"]',
        "make",
        "Python {version} cannot read unreadable.py, line 2: it is for another Python, or has a mistake",
        "the Python that the simulator was written for, if it is another one",
        has_python=False,
        evidence='in {folder}/unreadable.py, line 2: print "made"',
    ),
    Broken(
        "MissingKeyword-v0",
        'entry_point = "arms:Scene"\nkwargs = { joints = 4 }',
        "make",
        "the env needs the keyword 'scene'; it takes scene, joints",
        "kwargs = { …, scene = … }",
    ),
    Broken(
        "EnvironmentVariable-v0",
        'entry_point = "arms:Home"',
        "make",
        "the simulator reads the environment variable ROBOT_HOME, which is not set",
        'environ = { ROBOT_HOME = "…" }',
        evidence='in __init__, {broken}/arms/__init__.py, line 93: os.environ["ROBOT_HOME"]',
    ),
    Broken(
        "RelativePath-v0",
        'entry_point = "arms:Meshes"',
        "reset",
        "the simulator opens meshes/arm.xml, a path in its working directory, and that folder has no such file",
        'cwd = "…", the folder that has meshes/arm.xml',
        is_made=True,
    ),
    Broken(
        "MissingProgram-v0",
        'entry_point = "arms:Program"',
        "make",
        "the simulator runs the program no-such-physics, which is not on this machine",
        "the apt package that has no-such-physics, named in system_packages; or environ = { PATH = … } if it is "
        "installed",
    ),
    Broken(
        "NoGpu-v0",
        'entry_point = "arms:Gpu"',
        "make",
        "the simulator asks for an NVIDIA GPU, and its libraries find none that they can use on this machine",
        'its keyword for the CPU, such as kwargs = { device = "cpu" }; or a machine with a GPU and its driver',
    ),
    Broken(
        "NotCallable-v0",
        'entry_point = "arms:VERSION"',
        "make",
        "VERSION of the module arms is of type int, and makes no env",
        'entry_point = "arms:…", with the class of the env or a function that returns one',
    ),
    Broken(
        "Exits-v0",
        'entry_point = "arms:Exits"',
        "make",
        "",
        "PYTHONPATH={broken} {python} -c 'import arms; arms.Exits()'",
        text="the server of 'Exits-v0' did not start: exit code 1",
        evidence="accept the license first: set ARMS_LICENSE=yes",
    ),
    Broken(
        "Aborts-v0",
        'entry_point = "arms:Aborts"',
        "steps",
        "",
        "gym-service debug Aborts-v0, which runs the simulator in this terminal",
        is_made=True,
        text="the server of 'Aborts-v0' died during step: killed by SIGABRT (signal 6)",
        evidence="in step, {broken}/arms/__init__.py, line 127",
    ),
    Broken(
        "ResetRaises-v0",
        'entry_point = "arms:NoLicense"',
        "reset",
        "",
        'gym_service.make("ResetRaises-v0").reset() in Python: its error has the whole traceback',
        is_made=True,
        text="RuntimeError: the license server does not answer",
        evidence="in reset, {broken}/arms/__init__.py, line 145: "
        'raise RuntimeError("the license server does not answer")',
    ),
    Broken(
        "NoVariables-v0",
        'python = "$HOME/sim"',
        "interpreter",
        "",
        "the path itself, or ~ for your home folder: variables such as $HOME are not replaced in envs.toml",
        has_python=False,
        text="{folder}/$HOME/sim does not exist",
    ),
    Broken(
        "NoCondaEnv-v0",
        'python = "conda:nowhere"',
        "interpreter",
        "",
        "conda create -n nowhere python=3.10 numpy gymnasium",
        has_python=False,
        text="There is no conda env nowhere; searched:",
        evidence="conda's folders: none found",
    ),
    Broken(
        "NoInterpreter-v0",
        'python = "./nowhere"',
        "interpreter",
        "",
        "python -m venv {folder}/nowhere",
        has_python=False,
        text="{folder}/nowhere does not exist",
    ),
    Broken(
        "MisspelledKey-v0",
        'pyton = "3.10"',
        "envs.toml",
        "",
        "",
        has_python=False,
        text='{folder}/envs.toml: envs."MisspelledKey-v0".pyton: unknown key; did you mean "python"?',
    ),
    Broken(
        "UnknownInterpreter-v0",
        'interpreter = "amrs"',
        "envs.toml",
        "",
        "",
        has_python=False,
        text='{folder}/envs.toml: envs."UnknownInterpreter-v0".interpreter: there is no interpreter "amrs"; '
        'did you mean "arms"?',
    ),
)
