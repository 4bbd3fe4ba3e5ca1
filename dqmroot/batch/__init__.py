"""Campaigns: whole run periods over Dask, piece by piece, each piece on disk whole, so that a rerun does only what is missing."""
