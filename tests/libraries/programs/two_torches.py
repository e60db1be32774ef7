"""A client and a simulator with different versions of torch and Python: PYTHON two_torches.py TARGET FOLDER.

Prints what it finds. Python 3.10 and up, torch and Gymnasium.
"""

import sys

import numpy as np
import torch

import gym_service


def main(target: str, folder: str) -> None:
    env = gym_service.make("Torch-v0", python=target, pythonpath=[folder], imports=["torch_env"], arrays="torch")
    theirs = env.unwrapped.call("version")
    assert theirs != torch.__version__, theirs
    observation, info = env.reset(seed=2)
    pixels = observation["pixels"]
    assert type(pixels) is torch.Tensor
    assert pixels.dtype == torch.uint8
    assert pixels.shape == (64, 84, 84, 4)
    assert not pixels.numpy().flags.owndata  # its memory is the array's, in shared memory
    assert info["half"].dtype == torch.float16
    assert info["nested"][0].ndim == 0
    for number in range(1, 20):
        observation, reward, terminated, truncated, info = env.step(torch.full((3,), 0.5))
        assert (observation["pixels"] == number).all()
        assert (pixels == 0).all()
        assert torch.equal(observation["state"], torch.full((3,), 2 + number / 2))
        assert float(reward) == 3 * (2 + number / 2)
        assert reward.dtype == torch.float32
        assert not bool(terminated)
        assert truncated.dtype == torch.bool
        assert info["complex"].dtype == torch.complex64
        assert info["t"].shape == (1, 3)
    assert env.target["arrays"] == "torch cpu"
    observation["pixels"].fill_(7)  # it belongs to the user
    env.step(np.zeros(3, np.float32))
    assert (observation["pixels"] == 7).all()
    env.close()
    print(f"torch {torch.__version__} here, torch {theirs} there")


if __name__ == "__main__":
    main(*sys.argv[1:])
