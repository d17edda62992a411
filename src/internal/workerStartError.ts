/** The worker could not be started: its file is missing, or it did not say that it listens. */
export class WorkerStartError extends Error {
  override readonly name = "WorkerStartError"
}
