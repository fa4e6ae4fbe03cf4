import { type CallScope, serverStream, unary } from './call.js';
import type { Control } from './control.js';
import { toModel } from './convert.js';
import type { ModelServiceHandlers } from './generated/corecast/v1/ModelService.js';
import { modelId, trainRequest } from './validate.js';

export function modelService(control: Control, scope: CallScope): ModelServiceHandlers {
  return {
    ListModels: unary(scope, async () => ({ models: (await control.models()).map(toModel) })),
    TrainModel: serverStream(scope, async function* (message, { signal, peer }) {
      for await (const { result, ...progress } of control.train(trainRequest(message), peer, signal)) {
        const end =
          result === undefined
            ? {}
            : { model: toModel(result.model), promoted: result.promoted, reason: result.reason };
        yield { ...progress, ...end };
      }
    }),
    PromoteModel: unary(scope, async (message, { peer }) => ({
      model: toModel(await control.promote(modelId(message.modelId), peer)),
    })),
    RollbackModel: unary(scope, async (_, { peer }) => ({ model: toModel(await control.rollback(peer)) })),
  };
}
