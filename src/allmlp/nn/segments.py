"""Vision Permutator's way to mix an axis: each segment of the channels is mixed together with it."""

# axes: b batch, y x rows and columns of the grid, c = g · s channels in g segments of s

from torch import Tensor, nn


class SegmentsAlongRows(nn.Linear):
    """Mix the height axis and the channels of one segment, each column of the grid and each segment by itself.

    The matrix has y · s inputs; with as many segments as rows, as in the paper, these are c (ViP, "Permute-MLP").
    """

    def __init__(self, *, dim: int, segments: int, rows: int) -> None:
        super().__init__(rows * (dim // segments), rows * (dim // segments), bias=False)
        self.segments, self.cells = segments, rows

    def forward(self, x: Tensor) -> Tensor:  # b y x c → b y x c
        rows = x.shape[1]
        by_segment = x.unflatten(3, (self.segments, -1)).permute(0, 3, 2, 1, 4)  # b g x y s
        mixed = super().forward(by_segment.flatten(3)).unflatten(3, (rows, -1))
        return mixed.permute(0, 3, 2, 1, 4).flatten(3)


class SegmentsAlongColumns(nn.Linear):
    """The same with the width axis: each row of the grid and each segment by itself."""

    def __init__(self, *, dim: int, segments: int, columns: int) -> None:
        super().__init__(columns * (dim // segments), columns * (dim // segments), bias=False)
        self.segments, self.cells = segments, columns

    def forward(self, x: Tensor) -> Tensor:  # b y x c → b y x c
        columns = x.shape[2]
        by_segment = x.unflatten(3, (self.segments, -1)).transpose(2, 3)  # b y g x s
        mixed = super().forward(by_segment.flatten(3)).unflatten(3, (columns, -1))
        return mixed.transpose(2, 3).flatten(3)
