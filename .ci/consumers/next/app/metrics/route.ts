import { webHandler } from "effect-prometheus/Promises"

export const dynamic = "force-dynamic"

export const GET = webHandler()
