"""Runs one function on many pieces of work: here, in threads, in processes, or on a cluster."""

from vmanomaly.executor.executor import Executor

__all__ = ["Executor"]
