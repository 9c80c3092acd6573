"""Around `fit`: processor set-up, callbacks, checkpoints, progress."""
