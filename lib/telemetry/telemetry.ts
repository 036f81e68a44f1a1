// Telemetry for operators: metrics, events, alerts and the resources of the machine.

export { alertsOf } from './alerts.ts';
export { EventLog, tee, type Level, type Listener } from './events.ts';
export { Metrics, metricsOf, type Exposed, type MetricValues, type GuardReason } from './metrics.ts';
export { Resources } from './resources.ts';
export { WebhookClient, type WebhookAnswer } from './webhook.ts';
