"""What a suggested rate is worth: the loss it trains to, against every rate of a grid."""

from lrfinder.benchmark._task import Problem, Task, final_loss, initial_loss, train, validation_loss

__all__ = ["Problem", "Task", "final_loss", "initial_loss", "train", "validation_loss"]
