// A certificate for tests of TLS: self-signed, for localhost, files.example, other.example and 127.0.0.1, valid from 2020 to 2120. It protects nothing.

function pem(label: string, base64: string): string {
  return [`-----BEGIN ${label}-----`, ...(base64.match(/.{1,64}/g) ?? []), `-----END ${label}-----`, ""].join("\n");
}

export const KEY = pem(
  "PRIVATE KEY",
  "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg5UGfW0DjjfH/aA+yuHPqfDfz1AKVSz/RqcuY5x2qkD6hRANCAATDePiCxNuenGLrZ7fVD5f6CoszT1OGJlYnyJ62zCI4ciqb3wY/tTB0PSbIDMppphBbZCuPkG6Jt9QwAE1nlgUs",
);

/** What SSL_CERT_FILE has to hold for clients to trust the server. */
export const CERTIFICATE = pem(
  "CERTIFICATE",
  "MIIBhTCCASugAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMMCWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABMN4+ILE256cYutnt9UPl/oKizNPU4YmVifInrbMIjhyKpvfBj+1MHQ9JsgMymmmEFtkK4+Qbom31DAATWeWBSyjbDBqMDgGA1UdEQQxMC+CCWxvY2FsaG9zdIINZmlsZXMuZXhhbXBsZYINb3RoZXIuZXhhbXBsZYcEfwAAATAPBgNVHRMBAf8EBTADAQH/MB0GA1UdDgQWBBTSfhdAzwEs3dTWZA+69DT5zJIWYzAKBggqhkjOPQQDAgNIADBFAiAb0epfYHFL0R8ybib8UWuRQpRQBy1YeiBbHJA22S/pUAIhAPx8/Pvb6WZWi3si/IRLplei45N8o2nqFE3tDpVAcg97",
);
