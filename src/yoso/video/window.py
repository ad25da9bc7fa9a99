"""`--show`: the drawn frames in a window."""

from typing import Any

import numpy as np
from PIL import Image

from yoso.errors import OutputError


class Window:
    """A window with the newest drawn frame; Escape, q or its close button closes it. Use it in the main thread.

    Attributes:
        is_open: the window was not closed.
    """

    def __init__(self, title: str) -> None:
        """Open the window.

        Raises:
            OutputError: there is no display, or Python has no tkinter.
        """
        try:
            import tkinter
        except ImportError as error:
            raise OutputError(
                "--show needs tkinter, which this Python lacks; install python3-tk, or leave it out"
            ) from error
        try:
            self._root: Any = tkinter.Tk()
        except tkinter.TclError as error:
            raise OutputError(f"--show needs a display, and there is none ({error}); leave --show out") from error
        from PIL import ImageTk

        self._photo_of = ImageTk.PhotoImage
        self._root.title(title)
        self._label = tkinter.Label(self._root, borderwidth=0)
        self._label.pack()
        self.is_open = True
        self._root.protocol("WM_DELETE_WINDOW", self._leave)
        for key in ("<Escape>", "q"):
            self._root.bind(key, lambda _: self._leave())

    def _leave(self) -> None:
        self.is_open = False

    def show(self, picture: np.ndarray) -> None:
        """Show a uint8 RGB array (H, W, 3)."""
        photo = self._photo_of(Image.fromarray(picture))
        self._label.configure(image=photo)
        self._photo = photo  # tkinter keeps no reference
        self._root.update()

    def close(self) -> None:
        """Close the window."""
        self._root.destroy()
