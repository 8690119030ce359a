// Where gRPC and HTTP meet: which requests are gRPC, and what an HTTP status says to a gRPC client (facts/envoy-verified.md 1c).

/** envoy 1.40: HTTP status to gRPC status, where nobody named one. */
const FROM_HTTP: Record<number, number> = { 400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14 };
const UNKNOWN = 2;

/** gRPC status of an HTTP status. */
export const grpcStatusOf = (status: number): number => FROM_HTTP[status] ?? UNKNOWN;

/** envoy 1.40: by the content type of a request. */
export const isGrpcType = (contentType: string | undefined): boolean => contentType !== undefined && /^application\/grpc($|\+)/.test(contentType);
