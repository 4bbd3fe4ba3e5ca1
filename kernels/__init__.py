"""Compiled loops over plain arrays; they know nothing of DQM.

Contract: ``f(values, …, out)`` is the loop only, checks live in the caller; sums are float64; nothing is compiled at
import; every kernel has a NumPy twin in the tests.
"""
