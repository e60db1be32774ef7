"""Run by path inside a target with any Python and gym: exercises the packages that the server loads.

    PYTHON in_target.py echo                    reads one frame of values from stdin, writes them back as one frame
    PYTHON in_target.py refuse                  reads one frame of byte strings, says for each what reading it raises
    PYTHON in_target.py digest                  reads a list of values, writes the canonical bytes of each
    PYTHON in_target.py pictures                reads a list of images, writes each as a separate, encoded frame
    PYTHON in_target.py spaces gym|gymnasium    writes one frame: the descriptions of that library's spaces

Uses only Python 3.6 and numpy, except for ``spaces``. It finds ``gym_service`` as the server does: as a bare package,
whose ``__init__`` never runs.
"""

import collections
import importlib
import os
import sys
import types

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGE = types.ModuleType("gym_service")
PACKAGE.__path__ = [os.path.join(os.path.dirname(os.path.dirname(HERE)), "gym_service")]
sys.modules["gym_service"] = PACKAGE
# This folder's modules (spaces, same) must not shadow those of a gym.
sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != HERE]

import numpy as np  # noqa: E402

from gym_service.protocol.decoder import ValueDecoder  # noqa: E402
from gym_service.protocol.encoder import Encoder  # noqa: E402
from gym_service.protocol.frames import FrameDecoder, frame_bytes  # noqa: E402
from gym_service.protocol.layout import compile_layout  # noqa: E402
from gym_service.protocol.space_spec import CannotDescribe, describe  # noqa: E402
from gym_service.protocol.value_digest import canonical_bytes  # noqa: E402
from gym_service.protocol.values import BadValue, flat_bytes, type_name  # noqa: E402
from gym_service.transport import channel, image_codec  # noqa: E402, F401 - that they load here is what is tested

GraphInstance = collections.namedtuple("GraphInstance", "nodes edges edge_links")


def read_value():
    """The only value in the only frame on stdin."""
    decoder, data = FrameDecoder(), memoryview(sys.stdin.buffer.read())
    frame = None
    while frame is None:
        buffer = decoder.next_buffer()
        size = min(len(buffer), len(data))
        if size == 0:
            raise EOFError
        buffer[:size], data = data[:size], data[size:]
        frame = decoder.received(size)
    decoder = ValueDecoder(frame.head, frame.buffers, GraphInstance)
    value = decoder.read()
    decoder.expect_end()
    return value


def write_value(value):
    encoder = Encoder().add(value)
    sys.stdout.buffer.write(b"".join(bytes(piece) for piece in frame_bytes(1, 1, encoder.head, encoder.buffers)))


def outcome(head):
    """The name of the exception that reading these bytes raises, or an empty text."""
    try:
        ValueDecoder(head).read()
    except BadValue:
        return "BadValue"
    except BaseException as error:  # noqa: BLE001 - its name is the answer
        return type_name(error)
    return ""


def the_spaces(library):
    """The spaces of this version of the library, by name."""
    spaces = library.spaces
    box = spaces.Box(-1.0, 1.0, (2,), np.float32)
    yield "box", box
    yield "image", spaces.Box(0, 255, (64, 64, 3), np.uint8)
    yield "unbounded", spaces.Box(-np.inf, np.inf, (2,), np.float64)
    yield "half bounded", spaces.Box(np.array([0, -np.inf]), np.array([np.inf, 5]), dtype=np.float64)
    yield "without dimensions", spaces.Box(-1.0, 1.0, (), np.float64)
    yield "shape of numpy's", spaces.Box(-1.0, 1.0, (np.int64(2),), np.float32)
    yield "discrete", spaces.Discrete(5)
    yield "multi discrete", spaces.MultiDiscrete([3, 2])
    yield "multi discrete of two dimensions", spaces.MultiDiscrete(np.array([[1, 2], [3, 4]]))
    yield "multi binary", spaces.MultiBinary(4)
    yield "multi binary of two dimensions", spaces.MultiBinary([2, 3])
    ordered = spaces.Dict([("z", box), ("a", spaces.Discrete(2))])
    yield "tuple", spaces.Tuple([spaces.Discrete(3), ordered])
    yield "subclass", type("Narrow", (spaces.Box,), {})(-1.0, 1.0, (2,), np.float32)
    yield "mission", type("Mission", (library.Space,), {})((), str)
    if "start" in spaces.Discrete.__init__.__code__.co_varnames:
        yield "discrete with start", spaces.Discrete(5, start=-2)
    if "start" in spaces.MultiDiscrete.__init__.__code__.co_varnames:
        yield "multi discrete with start", spaces.MultiDiscrete([3, 2], start=[1, -1])
    if hasattr(spaces, "Text"):
        yield "text", spaces.Text(5, min_length=2, charset="zyx")
    if hasattr(spaces, "Sequence"):
        yield "sequence", spaces.Sequence(box)
    if hasattr(spaces, "Graph"):
        yield "graph", spaces.Graph(box, spaces.Discrete(3))
        yield "graph without edges", spaces.Graph(box, None)
    if hasattr(spaces, "OneOf"):
        yield "one of", spaces.OneOf([box, spaces.Discrete(3)])


def account(space):
    """A space's description, and a sample of it packed by its layout."""
    data = describe(space, "$")
    layout = compile_layout(data)
    try:
        sample = space.sample()
    except NotImplementedError:
        return {"data": data, "fits": None}
    head, buffers = bytearray(), []
    fits = layout.pack(sample, head, buffers) if layout else None
    packed = layout.unpack(head, 0, [flat_bytes(buffer).copy() for buffer in buffers]) if fits else None
    return {"data": data, "sample": sample, "fits": fits, "packed": packed}


def refusal(library):
    """Path and class in the refusal of a space that states nothing about its values."""
    silent = type("Silent", (library.Space,), {})()
    try:
        describe(library.spaces.Tuple([library.spaces.Discrete(2), silent]), "$.space")
    except CannotDescribe as error:
        return error.path, error.type_name.rpartition(".")[2]
    return None


def coded_one_by_one(values):
    """Each image in a separate frame, as a server with frames = "zlib" sends them one after the other."""
    image_encoder = image_codec.encoder_for("zlib")
    image_encoder.is_on = True
    for value in values:
        encoder = Encoder().add(value)
        pieces = frame_bytes(1, 1, encoder.head, image_encoder.descriptors(encoder.buffers))
        sys.stdout.buffer.write(b"".join(bytes(piece) for piece in pieces))


def main(action, library=None):
    if action == "echo":
        write_value(read_value())
    elif action == "pictures":
        coded_one_by_one(read_value())
    elif action == "digest":
        write_value([canonical_bytes(value) for value in read_value()])
    elif action == "refuse":
        write_value([outcome(head) for head in read_value()])
    else:
        module = importlib.import_module(library)
        found = {name: account(space) for name, space in the_spaces(module)}
        write_value({"spaces": found, "refusal": refusal(module)})


if __name__ == "__main__":
    main(*sys.argv[1:])
