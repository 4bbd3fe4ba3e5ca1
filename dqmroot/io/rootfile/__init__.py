"""ROOT files whose histograms stand each under its own key: DQM GUI files and flat files, read and written."""
