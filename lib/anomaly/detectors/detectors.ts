import type { Detector } from '../../../types/detector.d.ts';
import type { Cohort } from '../cohort.ts';
import type { CallerState } from '../state.ts';
import type { ContentState, NetworkState } from '../surroundings.ts';
import { clientForgery } from './client-forgery.ts';
import { contentRepetition } from './content-repetition.ts';
import { credentialStuffing } from './credential-stuffing.ts';
import { failureBurst } from './failure-burst.ts';
import { impossibleTravel } from './impossible-travel.ts';
import { keySpraying } from './key-spraying.ts';
import { requestRate } from './request-rate.ts';
import { scanning } from './scanning.ts';
import { sharedKey } from './shared-key.ts';
import { spendVelocity } from './spend-velocity.ts';
import { stolenKey } from './stolen-key.ts';

/** What active key-hours of all keys look like. */
export interface Cohorts {
  readonly spend: Cohort;
  readonly requests: Cohort;
}

/** Every detector, by what it judges. */
export const detectorsOf = ({ spend, requests }: Cohorts) => ({
  caller: [sharedKey, stolenKey, spendVelocity(spend), requestRate(requests), failureBurst, impossibleTravel, clientForgery] as readonly Detector<CallerState>[],
  network: [credentialStuffing, keySpraying, scanning] as readonly Detector<NetworkState>[],
  content: [contentRepetition] as readonly Detector<ContentState>[],
});
