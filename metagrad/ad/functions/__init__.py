"""The functions that traced values go through, by family; the `TABLE` of each says for which of NumPy's or SciPy's."""
