// The caller as a request shows it: address, device, client, token and TLS handshake.

export { AddressSet, clientAddress, networkOf, parseAddress, peerIn, remoteOf, UntrustedProxyDetector, type ClientAddress } from './address.ts';
export { bareToken, clientOf, credentialOf, deviceFingerprint, familyOf, keyedHash, keyProtocol, tokenIdentifier, type Credential } from './caller.ts';
export { handshakeOf, helloIn, ja4Of, rememberHandshake } from './ja4.ts';
export { networkText, prefixOf } from './network.ts';
export { doctorProof, isDoctorProof } from './proof.ts';
export { readQuery, withParameter } from './query.ts';
export { installSecret, secretFileOf } from './secret.ts';
