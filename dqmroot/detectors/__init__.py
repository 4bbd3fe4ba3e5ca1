"""Detectors: fit on good lumisections, score new ones; higher is worse."""
