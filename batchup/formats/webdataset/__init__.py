"""WebDataset's tar shards: the members of a tar file that share a name are a sample."""
