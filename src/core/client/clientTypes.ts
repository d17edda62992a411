/**
 * The types of the metrics that the library creates: those of the installed client, of prom-client if both are
 * installed. The type of a package that is missing is `any`, so that the other one is chosen.
 */

/** @ts-ignore: if it is not installed */
import type * as PrometheusClient from "@prometheus-io/client"
/** @ts-ignore: if it is not installed */
import type * as PromClient from "prom-client"

// In a tuple: a condition on a type that cannot be resolved has no result.
type HasPromClient = [0] extends [1 & typeof PromClient.register] ? false : true

type OfInstalled<Older, Newer> = HasPromClient extends true ? Older : Newer

export type Counter<Names extends string> = OfInstalled<PromClient.Counter<Names>, PrometheusClient.Counter<Names>>
export type Gauge<Names extends string> = OfInstalled<PromClient.Gauge<Names>, PrometheusClient.Gauge<Names>>
export type Histogram<Names extends string> = OfInstalled<
  PromClient.Histogram<Names>,
  PrometheusClient.Histogram<Names>
>
export type Summary<Names extends string> = OfInstalled<PromClient.Summary<Names>, PrometheusClient.Summary<Names>>
export type Registry = OfInstalled<PromClient.Registry, PrometheusClient.Registry>
