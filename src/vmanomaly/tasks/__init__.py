"""Work on demand: started by a request, watched while it runs, stopped when nobody wants it."""

from vmanomaly.tasks.task import Note, Task, TaskError, TaskStatus, Work
from vmanomaly.tasks.tasks import NoFreeSlotError, Tasks

__all__ = ["NoFreeSlotError", "Note", "Task", "TaskError", "TaskStatus", "Tasks", "Work"]
