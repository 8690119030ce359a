/** Module name to text. */
export const wat: Record<string, string>;
