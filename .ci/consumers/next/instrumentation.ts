export const register = async (): Promise<void> => {
  if (process.env.NEXT_RUNTIME === "nodejs") {
    const { startHttpServerInThread } = await import("effect-prometheus/Promises")
    await startHttpServerInThread({ port: Number(process.env.METRICS_PORT ?? 9464), grace: "5 seconds" })
  }
}
