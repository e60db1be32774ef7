"""LeRobot's own evaluation of a policy on PushT, which stays in an interpreter of its own.

    pip install "lerobot[training]" gym-service lerobot_env_gym_service      # in Python 3.12
    python examples/lerobot_eval.py                            # builds PushT's venv with uv the first time
    python examples/lerobot_eval.py --python ./sim_env         # an interpreter with gym-pusht in it
    python examples/lerobot_eval.py --policy outputs/train/act_pusht/checkpoints/last/pretrained_model

Without --policy it evaluates a tiny ACT policy with random weights: nothing is downloaded from the hub, and the figures
say only that the setup works. LeRobot writes the videos and eval_info.json; this prints a line for each episode.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from lerobot.configs.default import EvalConfig
from lerobot.configs.eval import EvalPipelineConfig
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.scripts.lerobot_eval import eval_main
from lerobot_env_gym_service import GymServiceEnv

PUSHT_VENV = {"python": "3.10", "requires": ["gym-pusht==0.1.8", "pymunk==6.11.1", "gymnasium<1", "numpy<2"]}


def main() -> None:
    """Evaluate, then print what LeRobot has written."""
    parser = argparse.ArgumentParser(description="LeRobot's evaluation on PushT in another interpreter.")
    parser.add_argument("--python", help="an interpreter that has gym-pusht; else a venv is built")
    parser.add_argument("--policy", type=Path, help="the pretrained_model folder of a checkpoint; else random weights")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--episodes", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=2, help="simulators at once, each in its own process")
    parser.add_argument("--episode-length", type=int, default=100, help="steps")
    parser.add_argument("--output", type=Path, default=Path("outputs/lerobot_eval"))
    chosen = parser.parse_args()
    eval_main(
        EvalPipelineConfig(
            env=pusht(chosen.python, chosen.episode_length),
            policy=policy(chosen.policy, chosen.device),
            eval=EvalConfig(n_episodes=chosen.episodes, batch_size=chosen.batch_size, use_async_envs=False),
            output_dir=chosen.output,
        )
    )
    show(json.loads((chosen.output / "eval_info.json").read_text()))


def pusht(python: str | None, episode_length: int) -> GymServiceEnv:
    """The env as LeRobot is told of it. With an envs.toml, a task of that file is enough."""
    where: dict[str, Any] = {"python": python} if python else PUSHT_VENV
    return GymServiceEnv(
        task="gym_pusht/PushT-v0",
        service={**where, "imports": ["gym_pusht"]},
        kwargs={"obs_type": "pixels_agent_pos"},
        episode_length=episode_length,
    )


def policy(checkpoint: Path | None, device: str) -> PreTrainedConfig:
    if checkpoint is None:
        small = {"dim_model": 64, "n_heads": 2, "dim_feedforward": 64}
        return ACTConfig(**small, pretrained_backbone_weights=None, device=device, push_to_hub=False)
    config = PreTrainedConfig.from_pretrained(checkpoint)
    config.pretrained_path, config.device = checkpoint, device
    return config


def show(info: dict[str, Any]) -> None:
    """A line for each episode. The reward of a step is the covered share of the target, and 0.95 is a success."""
    (task,) = info["per_task"]
    found = task["metrics"]
    print("episode   return   best step   success")
    for number, (total, best, success) in enumerate(
        zip(found["sum_rewards"], found["max_rewards"], found["successes"], strict=True)
    ):
        print(f"{number:7}   {total:6.2f}   {best:9.3f}   {success}")
    print("videos:", *found["video_paths"], sep="\n  ")


if __name__ == "__main__":
    main()
