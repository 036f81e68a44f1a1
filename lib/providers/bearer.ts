/** RFC 6750 §2.1. */
export const bearer = (key: string): readonly string[] => ['Authorization', `Bearer ${key}`];
