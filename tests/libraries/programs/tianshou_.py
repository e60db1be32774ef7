"""Tianshou's DQN on a simulator in another interpreter: ``PYTHON tianshou_.py dummy|subproc``.

``$GYM_SERVICE_ENVS`` names the entries. Prints its findings as one line of JSON.
"""

import json
import sys

import gymnasium as gym
from tianshou.algorithm.modelfree.dqn import DQN, DiscreteQLearningPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv, SubprocVectorEnv
from tianshou.trainer import OffPolicyTrainerParams
from tianshou.utils.net.common import Net


def make():
    return gym.make("gym_service:gym_service/Pole-v1")


def main(kind):
    train = {"dummy": DummyVectorEnv, "subproc": SubprocVectorEnv}[kind]([make] * 2)
    test = DummyVectorEnv([make] * 2)
    train.seed(1)
    test.seed(2)
    net = Net(state_shape=(4,), action_shape=2, hidden_sizes=[32, 32])
    policy = DiscreteQLearningPolicy(model=net, action_space=train.action_space[0], eps_training=0.1)
    algorithm = DQN(policy=policy, optim=AdamOptimizerFactory(lr=1e-3), target_update_freq=100)
    found = algorithm.run_training(
        OffPolicyTrainerParams(
            training_collector=Collector(algorithm, train, VectorReplayBuffer(2000, 2)),
            test_collector=Collector(algorithm, test),
            max_epochs=1,
            epoch_num_steps=200,
            collection_step_num_env_steps=20,
            test_step_num_episodes=2,
            batch_size=32,
            verbose=False,
        )
    )
    train.close()
    test.close()
    print(json.dumps({"steps": int(found.train_step), "updates": found.update_step, "best": float(found.best_reward)}))


if __name__ == "__main__":
    main(sys.argv[1])
