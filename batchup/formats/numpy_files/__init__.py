"""NumPy's own files: .npy of one array, .npz of several."""
