"""Tables: csv, parquet and HDF5, of histograms and of scores."""
