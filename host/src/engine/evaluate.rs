//! Evaluates constant nodes with the portable kernels, for folding.
