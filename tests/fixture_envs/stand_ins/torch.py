"""A stand-in for torch, with the parts that gym-service uses. Python 3.6 and up, needs only numpy.

A tensor on another device than ``cpu`` converts to an array only after ``cpu()``, and one with a gradient only after
``detach()``, as in torch.
"""

import numpy as np

int16, bfloat16 = "torch.int16", "torch.bfloat16"


class Tensor:
    def __init__(self, array, device="cpu", requires_grad=False, dtype=None):
        self._array, self.device, self.requires_grad = array, device, requires_grad
        self.dtype = dtype or "torch.%s" % array.dtype

    def _with(self, **changed):
        given = {"array": self._array, "device": self.device, "requires_grad": self.requires_grad, "dtype": self.dtype}
        return Tensor(**dict(given, **changed))

    def detach(self):
        return self._with(requires_grad=False)

    def cpu(self):
        return self.to("cpu")

    def to(self, device):
        return self._with(device=device)

    def contiguous(self):
        return self

    def view(self, dtype):
        return self._with(dtype=dtype)

    def numpy(self):
        if self.device != "cpu" or self.requires_grad:
            raise TypeError("can't convert a tensor of %s, with a gradient: %s" % (self.device, self.requires_grad))
        if self.dtype == bfloat16:
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self._array


def from_numpy(array):
    if (
        not isinstance(array, np.ndarray)
        or array.dtype.kind not in "biufc"
        or array.dtype in (np.uint32, np.longdouble)
    ):
        raise TypeError("can't convert %r" % (array,))
    if not array.dtype.isnative:
        raise ValueError("given numpy array has byte order different from the native byte order")
    return Tensor(array)
