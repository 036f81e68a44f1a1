/** RFC 6750 §2.1. */
export const bearer = (key: string): readonly string[] => ['Authorization', `Bearer ${key}`];

/** The model list of an OpenAI-compatible API. */
export const models = (base: string): string => `${base}/models`;
