"""Programs run on a GPU: fusion, CUDA source, one captured graph."""
