"""What a model is known by before it is trained; needs no torch, so that the search's driver can import it."""

from dataclasses import dataclass

from trainable.task import Size


@dataclass(frozen=True)
class ModelSize(Size):
    """What a configuration costs.

    Attributes:
        student_parameters: trainable parameters of the student.
        predictor_parameters: trainable parameters of the predictor.
        tflop_per_step: of one training step: forward and backward of both on a batch, see `trainable.model.flops`.
        checkpoint_bytes: what a checkpoint takes on the disk at most.
    """

    student_parameters: int
    predictor_parameters: int
    tflop_per_step: float
