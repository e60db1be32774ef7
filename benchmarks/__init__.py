"""What a step costs, each way, and whether that is what this project promises.

    python3 project.py bench [workload …]

``workloads`` says what is measured, ``contenders`` and its neighbours who competes, ``interleaved`` how it is timed,
``criteria`` what is promised; ``tables``, ``plot`` and ``record`` show it. docs/performance.md explains the figures.
"""
