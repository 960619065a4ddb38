"""What people use instead: the finders of other libraries with their own defaults, and Optuna."""

# torch-lr-finder and ignite start at the optimizer's rate. The tasks' optimizers have none of their
# own; this one is what torch-lr-finder's documentation uses and what fastai starts at.
START_LR = 1e-7
