"""Results as files: JSON, CSV, data frames, TensorBoard."""
