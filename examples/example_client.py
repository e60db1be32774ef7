"""Five random steps of CartPole, which runs in the processes of example_server.py: start that one first.

Each frame is shown with matplotlib where there is a screen; elsewhere all of them go into one picture.
"""

import os
import sys
from pathlib import Path

import numpy as np

from gym_service import SocketGymClient

PICTURE = Path("outputs/example_client.png")


def main():
    env = SocketGymClient(env_id="CartPole-v1", host="localhost", port=2333)
    observation, info = env.reset()
    print(f"[Example Client] Reset: obs={observation}, info={info}")
    frames = []
    for step in range(5):
        action = env.action_space.sample()
        observation, reward, terminated, truncated, info = env.step(action)
        print(f"[Example Client] Step {step}: {action=}, obs={observation}, {reward=}, {terminated=}")
        frames.append(env.render())
        if terminated or truncated:
            env.reset()
    env.close()
    show(frames)


def show(frames):
    """On the screen if there is one, else in a file."""
    has_screen = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    try:
        if not has_screen:
            raise ImportError("nobody would see it")
        from matplotlib import pyplot
    except ImportError:
        save(frames)
    else:
        for frame in frames:
            pyplot.imshow(frame)
            pyplot.axis("off")
            pyplot.pause(0.2)
        pyplot.close()


def save(frames):
    try:
        from PIL import Image
    except ImportError:
        print("[Example Client] To see the frames: pip install pillow, or matplotlib where there is a screen.")
        return
    PICTURE.parent.mkdir(exist_ok=True)
    Image.fromarray(np.hstack(frames)).save(PICTURE)
    print(f"[Example Client] Wrote {PICTURE}")


if __name__ == "__main__":
    main()
