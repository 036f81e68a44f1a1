// The caller as a request shows it: address, device, client, token and TLS handshake.

export { AddressSet, clientAddress, networkOf, parseAddress, type ClientAddress } from './address.ts';
export { clientOf, familyOf } from './client.ts';
export { Collapse } from './collapse.ts';
export { deviceFingerprint } from './device.ts';
export { handshakeOf, helloIn, ja4Of, rememberHandshake } from './ja4.ts';
export { installSecret, secretFileOf } from './secret.ts';
export { bareToken, carriersOf, credentialOf, keyedHash, tokenIdentifier } from './token.ts';
