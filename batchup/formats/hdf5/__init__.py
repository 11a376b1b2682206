"""HDF5 files whose datasets are columns."""
