"""RLlib with simulators in other interpreters: ``PYTHON rllib.py id|registered sync|async|vector_entry_point``.

``$GYM_SERVICE_ENVS`` names the entries, ``$POLE_PYTHON`` an interpreter. Trains PPO for one iteration in a separate env
runner, kills that runner, and prints its findings as one line of JSON.
"""

import json
import os
import signal
import sys

import ray
from ray import tune
from ray.rllib.algorithms.ppo import PPOConfig


def registered(config):
    import gym_service

    return gym_service.make("CartPole-v1", python=config["python"])


def algorithm(how, mode):
    env = "gym_service:gym_service/Pole-v1"
    if how == "registered":
        env = "pole"
        tune.register_env(env, registered)
    config = PPOConfig().environment(env, env_config={"python": os.environ["POLE_PYTHON"]} if how != "id" else {})
    runners = {"num_env_runners": 1, "num_envs_per_env_runner": 2, "rollout_fragment_length": 64}
    config = config.env_runners(**runners, gym_env_vectorize_mode=mode)
    config = config.training(train_batch_size_per_learner=128, minibatch_size=64, num_epochs=1)
    return config.learners(num_learners=0).debugging(seed=1).build_algo()


def main(how, mode):
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    algo = algorithm(how, mode)
    result = algo.train()["env_runners"]
    (pid,) = algo.env_runner_group.foreach_env_runner(lambda runner: os.getpid(), local_env_runner=False)
    servers = servers_of(pid)
    os.kill(pid, signal.SIGKILL)
    left = [server for server in servers if not has_ended(server)]
    algo.stop()
    ray.shutdown()
    print(json.dumps({"steps": int(result["num_env_steps_sampled"]), "servers": len(servers), "left": len(left)}))


def servers_of(pid):
    """Pidfds of the servers below a process."""
    found, waiting = [], [pid]
    while waiting:
        parent = waiting.pop()
        for task in os.listdir(f"/proc/{parent}/task"):
            with open(f"/proc/{parent}/task/{task}/children") as file:
                waiting += [int(child) for child in file.read().split()]
        with open(f"/proc/{parent}/cmdline") as file:
            if "gym_service/server/__main__.py" in file.read():
                found.append(os.pidfd_open(parent))
    return found


def has_ended(pidfd, within_s=20):
    import select

    return bool(select.select([pidfd], [], [], within_s)[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
