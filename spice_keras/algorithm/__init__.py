"""The paper: pure functions on tensors and arrays."""
