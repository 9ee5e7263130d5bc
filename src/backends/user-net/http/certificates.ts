/**
 * A certificate authority that one guest trusts, and certificates for the names it asks for (RFC 5280), so that a policy can read
 * the guest's HTTPS. Keys are made anew for every network, live in memory alone, and are worth nothing outside of it.
 * Runs on: main.
 */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { createSecureContext, type SecureContext } from 'node:tls';
import { bits, integer, octets, oid, primitive, sequence, set, TRUE, tagged, time, utf8 } from './der.js';

const OID = {
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  commonName: '2.5.4.3',
  subjectKeyId: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyId: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
} as const;

const DAY_MS = 86_400_000;
/** A guest's clock may be behind, and a machine may run for long; some clients refuse more than 398 days. */
const VALID_BEFORE_MS = 2 * DAY_MS;
const VALID_MS = 390 * DAY_MS;
/** Names with a certificate at hand; a guest may ask for any number. */
const MAX_KEPT = 256;

export class CertificateAuthority {
  /** The authority's certificate, PEM: for the guest to trust. */
  readonly pem: string;
  readonly #keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  /** One key for all certificates: making one takes longer than signing. */
  readonly #leafKeys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  readonly #name: Uint8Array;
  readonly #contexts = new Map<string, SecureContext>();

  constructor(name: string) {
    this.#name = distinguishedName(name);
    this.pem = this.#issue(this.#name, this.#keys.publicKey, [
      extension(OID.basicConstraints, sequence(TRUE, integer(Uint8Array.of(0))), true),
      extension(OID.keyUsage, bits(Uint8Array.of(0x06), 1), true), // keyCertSign, cRLSign
    ]);
  }

  /** What a server for `name` presents. */
  contextFor(name: string): SecureContext {
    const kept = this.#contexts.get(name);
    if (kept) return kept;
    const key = this.#leafKeys.privateKey.export({ type: 'pkcs8', format: 'pem' });
    const context = createSecureContext({ key, cert: this.certificateFor(name) });
    const [oldest] = this.#contexts.keys();
    if (this.#contexts.size >= MAX_KEPT && oldest !== undefined) this.#contexts.delete(oldest);
    this.#contexts.set(name, context);
    return context;
  }

  /** A certificate for a host name, PEM. */
  certificateFor(name: string): string {
    const alternative = sequence(primitive(2, new TextEncoder().encode(name))); // dNSName
    // The common name has 64 characters at most; who checks reads the other one.
    return this.#issue(distinguishedName(name.slice(0, 64)), this.#leafKeys.publicKey, [
      extension(OID.keyUsage, bits(Uint8Array.of(0x80), 7), true), // digitalSignature
      extension(OID.extendedKeyUsage, sequence(oid(OID.serverAuth))),
      extension(OID.subjectAltName, alternative),
    ]);
  }

  #issue(subject: Uint8Array, key: KeyObject, extensions: readonly Uint8Array[]): string {
    const algorithm = sequence(oid(OID.ecdsaWithSha256));
    const serial = randomBytes(16);
    serial[0] = (serial[0]! & 0x7f) | 0x40; // positive, and of one length
    const now = Date.now();
    const all = [
      ...extensions,
      extension(OID.subjectKeyId, octets(keyId(key))),
      extension(OID.authorityKeyId, sequence(primitive(0, keyId(this.#keys.publicKey)))),
    ];
    const body = sequence(
      tagged(0, integer(Uint8Array.of(2))), // version 3
      integer(serial),
      algorithm,
      this.#name,
      sequence(time(new Date(now - VALID_BEFORE_MS)), time(new Date(now + VALID_MS))),
      subject,
      key.export({ type: 'spki', format: 'der' }),
      tagged(3, sequence(...all)),
    );
    const signature = sign('sha256', body, this.#keys.privateKey);
    const der = Buffer.from(sequence(body, algorithm, bits(signature)));
    return `-----BEGIN CERTIFICATE-----\n${der
      .toString('base64')
      .replace(/(.{64})/g, '$1\n')
      .trimEnd()}\n-----END CERTIFICATE-----\n`;
  }
}

const distinguishedName = (name: string): Uint8Array =>
  sequence(set(sequence(oid(OID.commonName), utf8(name))));

const extension = (id: string, value: Uint8Array, critical = false): Uint8Array =>
  sequence(oid(id), ...(critical ? [TRUE] : []), octets(value));

/** RFC 5280 §4.2.1.2: SHA-1 of the key's bits; an uncompressed P-256 point is the last 65 bytes of its structure. */
const keyId = (key: KeyObject): Uint8Array =>
  createHash('sha1')
    .update(key.export({ type: 'spki', format: 'der' }).subarray(-65))
    .digest();
