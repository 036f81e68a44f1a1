import { expectation } from '../errors.ts';
import { HeimdallError } from '../errors.ts';

/**
 * An error that names a field of what was sent.
 * @param got as it may be shown.
 */
export function invalid(field: string, expected: string, got: string, example?: unknown): HeimdallError {
  return new HeimdallError('invalid_value', { message: `${field}: ${expectation(expected, got, example)}`, field });
}
