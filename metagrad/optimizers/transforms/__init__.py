"""Transformations of the gradient and of the step, one file each; `Chain` puts them around a rule."""
