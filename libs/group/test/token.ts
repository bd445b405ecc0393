/** For `newToken`. */
export const randomToken = (): string => crypto.randomUUID().slice(0, 8);
