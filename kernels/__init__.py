"""Compiled loops over plain arrays; they know nothing of DQM.

Contract: the array functions of the modules here lay arrays out, choose NumPy or a loop by shape, and call the loop;
checks that speak of monitoring elements live in the caller. Sums are float64; nothing is compiled at import; every
function has a NumPy twin in the tests.
"""
