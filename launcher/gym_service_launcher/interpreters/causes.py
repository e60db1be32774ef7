"""Why an env could not be made or played, and what to do: one table for the errors of ``gym.make`` and for ``check``.

Knows the texts by which simulators, Python and OpenGL tell of a failure, and what a survey of the target says about it.
Never knows how an env is made, or where its errors are shown. Python 3.10 and up.

``CAUSES`` is the table: a pattern of the evidence, the cause in words, and the fix. The first row that matches is
given, so a cause stands before what only follows from it. Where a text alone does not decide, a row has a function
(``judge``, in ``surveyed_causes.py``) that asks the survey of the target.
"""

from gym_service_launcher.interpreters import surveyed_causes
from gym_service_launcher.interpreters.evidence import Cause, Evidence, Explanation

WRITTEN_FOR_MUJOCO_3 = "the simulator was written for mujoco 3, and {place} has mujoco {version}"
GL_PACKAGES = "libegl1 libgl1 libgles2 libosmesa6 libglu1-mesa"
# They stand at the beginning of the evidence, which is ``TYPE: MESSAGE``.
UNREGISTERED = (
    r"\A(?:gym|gymnasium)\.error\.(?:NameNotFound|NamespaceNotFound|VersionNotFound|UnregisteredEnv|DeprecatedEnv)"
)
MISSING_MODULE = r"\A(?:\w+\.)*(?:ModuleNotFoundError|ImportError): No module named '?([^\s';]+)"
# The simulator tells of it in words of its own, and Python's error is the one that it came from.
RETOLD_MISSING_MODULE = (
    r"\A[\w.]*(?:ImportError|DependencyNotInstalled)\b[\s\S]*?^ModuleNotFoundError: No module named '([\w.]+)'"
)
SYNTAX = r"\A(?:SyntaxError|IndentationError|TabError): .*\((\S+), line (\d+)\)"
MISSING_ARGUMENTS = r"\ATypeError: .*missing \d+ required (?:positional|keyword-only) arguments?: (.+)"
# What the collections module had until Python 3.9, as the interpreter tells that it is gone.
ABSTRACT_CLASSES = (
    r"cannot import name '((?:Mutable)?(?:Mapping|Sequence|Set)|Iterable|Iterator|Callable|Hashable|Sized|Container)'"
    r" from 'collections'|module 'collections' has no attribute '([A-Z]\w+)'"
)
# The type of what os.environ raises, and where.
OF_ENVIRON = r'File "(?:<frozen os>|[^"]*\bos\.py)", line \d+, in __getitem__'
OF_SUBPROCESS = r'subprocess\.py", line \d+, in _execute_child'
REFUSAL = r"\A(?:\w+\.)*(?:AssertionError|ValueError|NotImplementedError|KeyError|Error)\b"


def explain(evidence: Evidence) -> Explanation | None:
    """The first cause that the evidence shows; None if it is none of those in the table.

    May run the target to survey it: blocks as long as its imports take, at most two minutes.
    """
    for row in CAUSES:
        found = row.explain(evidence)
        if found:
            return found
    return None


CAUSES: tuple[Cause, ...] = (
    Cause(
        "one emulator",
        r"multiple emulator instances per process",
        "the simulator holds one env per process",
        "workers = {num_envs}, since this simulator holds one env per process",
    ),
    Cause(
        "pkg_resources",
        r"No module named 'pkg_resources'",
        "the simulator imports pkg_resources, which setuptools 81 and newer do not have",
        "{install}",
        install="setuptools<81",
    ),
    Cause(
        "numpy 1.24",
        r"module 'numpy' has no attribute '(bool|int|float|object|complex|str)'",
        "the simulator uses np.{1}, which numpy 1.24 removed",
        "{install}",
        install="numpy<1.24",
    ),
    Cause(
        "numpy 2",
        r"compiled using NumPy 1\.x|(?:was|were) removed in the NumPy 2\.0 release|numpy\.dtype size changed"
        r"|module 'numpy' has no attribute '(?:bool8|float_|NaN|Inf|product|cumproduct|in1d|row_stack)'"
        r"|_ARRAY_API not found|No module named 'numpy\.core",
        "the simulator was written for numpy 1, and {place} has numpy {version}",
        "{install}",
        install="numpy<2",
        only_if=("numpy", 2),
    ),
    Cause(
        "mujoco 4",
        r"'Mj\w+' object has no attribute|module 'mujoco(?:\.\w+)*' has no attribute",
        WRITTEN_FOR_MUJOCO_3,
        "{install}",
        install="mujoco<4",
        only_if=("mujoco", 4),
    ),
    # With mujoco 4 a number of numpy is not equal to a member of its enums, so an assertion without a text fails.
    Cause(
        "mujoco 4, assertion",
        r"\A(?:\w+\.)*AssertionError: $",
        WRITTEN_FOR_MUJOCO_3,
        "{install}",
        install="mujoco<4",
        only_if=("mujoco", 4),
        traceback="mujoco|dm_control|robosuite",
    ),
    Cause(
        "no GPU",
        r"Found no NVIDIA driver|no CUDA-capable device|No CUDA GPUs are available|CUDA driver version is insufficient"
        r"|NVIDIA driver on your system is too old|libcuda\.so[.\d]*: cannot open|Torch not compiled with CUDA enabled",
        "the simulator asks for an NVIDIA GPU, and its libraries find none that they can use on this machine",
        'its keyword for the CPU, such as kwargs = {{ device = "cpu" }}; or a machine with a GPU and its driver',
    ),
    Cause(
        "no display",
        r"\AKeyError: 'DISPLAY'|neither the simulator nor this process has a display|No available video device"
        r"|(?:x11|wayland) not available|video system not initialized"
        r"|DISPLAY environment variable is missing|NoSuchDisplayException|Cannot connect to \"?(?:None|:\d)"
        r"|Failed to open display|could not connect to display|no display name and no \$DISPLAY",
        "there is no display here, and the simulator wants to open a window",
        'render_mode = "rgb_array"; or ssh -X, or xvfb-run in front of the command, for a display',
    ),
    Cause(
        "no OpenGL library",
        r"(lib(?:EGL|GL|OpenGL|GLU|GLX|GLESv2|OSMesa)\.so[.\d]*): cannot open shared object",
        "the library {1} of OpenGL is not installed on this machine",
        f'apt-get install {GL_PACKAGES}; and environ = {{{{ MUJOCO_GL = "egl" }}}} ("osmesa" without a GPU driver)',
    ),
    Cause(
        "no library",
        r"(lib[\w.+-]+\.so[.\d]*): cannot open shared object",
        "the library {1} is not installed on this machine",
        "the apt package that has {1}; name it in system_packages",
    ),
    Cause(
        "no OpenGL",
        r"OpenGL platform library has not been loaded|'NoneType' object has no attribute '(?:egl|gl|OSMesa)\w+'"
        r"|[Cc]annot initialize a(?:n)? (?:EGL|headless EGL)|[Ff]ailed to (?:initialize|create) (?:an? )?(?:OpenGL|EGL)"
        r"|Library \"?GLU?\"? not found|gladLoadGL error|EGLError|EGL_NOT_INITIALIZED|requires a valid OpenGL"
        r"|mj(?:r_make|_make)Context|Unable to load (?:EGL|OpenGL|OSMesa) library|ImportError: OpenGL",
        "the simulator finds no OpenGL to draw with on this machine",
        f'apt-get install {GL_PACKAGES}; and environ = {{{{ MUJOCO_GL = "egl" }}}} ("osmesa" without a GPU driver)',
    ),
    Cause(
        "newer Linux",
        r"version [`'](GLIBC|GLIBCXX|CXXABI)_([\d.]+)' not found",
        "a package of {place} was built for a newer Linux than this one, which has no {1}_{2}",
        "an older version of that package, or a container with a newer Linux",
    ),
    Cause(
        "newer processor",
        r"Fatal Python error: Illegal instruction",
        "the simulator uses instructions that this processor does not have (such as AVX)",
        "a build of the package for older processors, or another machine",
    ),
    Cause(
        "other library",
        r"([^\s:]+\.so[.\d]*): undefined symbol: (\w+)",
        "{1} was built for another version of a library of {place}: it needs {2}",
        "versions of these packages that fit each other, in a new venv",
    ),
    Cause(
        "damaged library",
        r"([^\s:]+\.so[.\d]*): (?:file too short|invalid ELF header|wrong ELF class)",
        "{1} is damaged, or built for another kind of machine",
        "the package that has this file, installed again",
    ),
    Cause(
        "environment variable",
        r"\AKeyError: '(\w+)'",
        "the simulator reads the environment variable {1}, which is not set",
        'environ = {{ {1} = "…" }}',
        traceback=OF_ENVIRON,
    ),
    Cause(
        "no program",
        r"\AFileNotFoundError: .*No such file or directory: '([^']+)'",
        "the simulator runs the program {1}, which is not on this machine",
        "the apt package that has {1}, named in system_packages; or environ = {{ PATH = … }} if it is installed",
        traceback=OF_SUBPROCESS,
    ),
    Cause(
        "relative path",
        r"\AFileNotFoundError: .*No such file or directory: '([^/'][^']*)'",
        "the simulator opens {1}, a path in its working directory, and that folder has no such file",
        'cwd = "…", the folder that has {1}',
    ),
    Cause(
        "Python 3.10",
        ABSTRACT_CLASSES,
        "the simulator was written for Python 3.9 or older: newer ones have no collections.{1}{2}",
        "a Python older than 3.10 for this simulator",
    ),
    Cause(
        "newer Python",
        r"\ATypeError: (?:'\w+' object is not subscriptable|unsupported operand type\(s\) for \|: )",
        judge=surveyed_causes.newer_annotations,
    ),
    Cause("unreadable", SYNTAX, judge=surveyed_causes.unreadable),
    Cause("unregistered id", UNREGISTERED, judge=surveyed_causes.unregistered),
    Cause("missing module", MISSING_MODULE, judge=surveyed_causes.missing_module),
    Cause("missing module", RETOLD_MISSING_MODULE, judge=surveyed_causes.missing_module),
    Cause("missing name", r"cannot import name '(\w+)' from '([\w.]+)'", judge=surveyed_causes.missing_name),
    Cause("missing keyword", MISSING_ARGUMENTS, judge=surveyed_causes.missing_keyword),
    Cause("bad keyword", r"got an unexpected keyword argument '(\w+)'", judge=surveyed_causes.keyword),
    Cause("wrong entry point", r"module '([\w.]+)' has no attribute '(\w+)'", judge=surveyed_causes.entry_point),
    Cause(
        "no creator",
        r"the entry point '([\w.]+):([\w.]+)' is of type (\w+)",
        "{2} of the module {1} is of type {3}, and makes no env",
        'entry_point = "{1}:…", with the class of the env or a function that returns one',
    ),
    Cause("render mode", REFUSAL, traceback="render_?mode", judge=surveyed_causes.render_mode),
)
