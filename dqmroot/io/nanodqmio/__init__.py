"""nanoDQMIO and DQMIO files: found, planned, decoded by compiled loops straight into their places."""
