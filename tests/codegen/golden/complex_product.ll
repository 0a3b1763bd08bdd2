@zeros = private constant [16 x i8] zeroinitializer
!0 = !{i32 1}

declare i64 @llvm.smin.i64(i64, i64)
declare <16 x float> @llvm.masked.load.v16f32.p0(ptr, <16 x i1>, <16 x float>)
declare void @llvm.masked.store.v16f32.p0(<16 x float>, ptr, <16 x i1>)
declare void @facula_parallel(ptr, ptr, i64)

define internal void @task(ptr %record, i64 %number) #0 {
entry:
  %.4 = alloca i64
  %at.out.ptr = getelementptr i64, ptr %record, i64 0
  %out.ptr = load ptr, ptr %at.out.ptr, align 8
  %at.z.ptr = getelementptr i64, ptr %record, i64 1
  %z.ptr = load ptr, ptr %at.z.ptr, align 8
  %at.n0 = getelementptr i64, ptr %record, i64 2
  %n0 = load i64, ptr %at.n0, align 8
  %at.chunk = getelementptr i64, ptr %record, i64 6
  %chunk = load i64, ptr %at.chunk, align 8
  %.1 = mul i64 %number, %chunk
  %.2 = add i64 %.1, %chunk
  %.3 = call i64 @llvm.smin.i64(i64 %.2, i64 %n0)
  store i64 %.1, ptr %.4
  %.6 = sub i64 %.3, 16
  %.7 = add i64 %.6, 1
  %.8 = icmp slt i64 %.1, %.7
  br i1 %.8, label %loop.5, label %done.5
loop.5:
  %.9 = phi i64 [ %.1, %entry ], [ %.25, %loop.5 ]
  %.10 = mul i64 %.9, 8
  %.11 = getelementptr i8, ptr %z.ptr, i64 %.10
  %.12 = load <32 x float>, ptr %.11, align 4
  %.13 = shufflevector <32 x float> %.12, <32 x float> poison, <16 x i32> <i32 0, i32 2, i32 4, i32 6, i32 8, i32 10, i32 12, i32 14, i32 16, i32 18, i32 20, i32 22, i32 24, i32 26, i32 28, i32 30>
  %.14 = shufflevector <32 x float> %.12, <32 x float> poison, <16 x i32> <i32 1, i32 3, i32 5, i32 7, i32 9, i32 11, i32 13, i32 15, i32 17, i32 19, i32 21, i32 23, i32 25, i32 27, i32 29, i32 31>
  %.15 = fmul <16 x float> %.13, %.13
  %.16 = fmul <16 x float> %.14, %.14
  %.17 = fsub <16 x float> %.15, %.16
  %.18 = fmul <16 x float> %.13, %.14
  %.19 = fmul <16 x float> %.14, %.13
  %.20 = fadd <16 x float> %.18, %.19
  %.21 = mul i64 %.9, 8
  %.22 = getelementptr i8, ptr %out.ptr, i64 %.21
  %.23 = shufflevector <16 x float> %.17, <16 x float> %.20, <32 x i32> <i32 0, i32 16, i32 1, i32 17, i32 2, i32 18, i32 3, i32 19, i32 4, i32 20, i32 5, i32 21, i32 6, i32 22, i32 7, i32 23, i32 8, i32 24, i32 9, i32 25, i32 10, i32 26, i32 11, i32 27, i32 12, i32 28, i32 13, i32 29, i32 14, i32 30, i32 15, i32 31>
  store <32 x float> %.23, ptr %.22, align 4
  %.24 = add i64 %.9, 16
  store i64 %.24, ptr %.4
  %.25 = add i64 %.9, 16
  %.26 = icmp slt i64 %.25, %.7
  br i1 %.26, label %loop.5, label %done.5
done.5:
  %.27 = load i64, ptr %.4
  %.29 = icmp slt i64 %.27, %.3
  br i1 %.29, label %loop.28, label %done.28
loop.28:
  %.30 = phi i64 [ %.27, %done.5 ], [ %.53, %loop.28 ]
  %.31 = sub i64 %.3, %.30
  %.32 = call i64 @llvm.smin.i64(i64 %.31, i64 8)
  %.33 = sub i64 8, %.32
  %.34 = trunc i64 %.33 to i8
  %.35 = lshr i8 -1, %.34
  %.36 = bitcast i8 %.35 to <8 x i1>
  %.37 = mul i64 %.30, 8
  %.38 = getelementptr i8, ptr %z.ptr, i64 %.37
  %.39 = shufflevector <8 x i1> %.36, <8 x i1> poison, <16 x i32> <i32 0, i32 0, i32 1, i32 1, i32 2, i32 2, i32 3, i32 3, i32 4, i32 4, i32 5, i32 5, i32 6, i32 6, i32 7, i32 7>
  %.40 = call <16 x float> @llvm.masked.load.v16f32.p0(ptr align 4 %.38, <16 x i1> %.39, <16 x float> zeroinitializer)
  %.41 = shufflevector <16 x float> %.40, <16 x float> poison, <8 x i32> <i32 0, i32 2, i32 4, i32 6, i32 8, i32 10, i32 12, i32 14>
  %.42 = shufflevector <16 x float> %.40, <16 x float> poison, <8 x i32> <i32 1, i32 3, i32 5, i32 7, i32 9, i32 11, i32 13, i32 15>
  %.43 = fmul <8 x float> %.41, %.41
  %.44 = fmul <8 x float> %.42, %.42
  %.45 = fsub <8 x float> %.43, %.44
  %.46 = fmul <8 x float> %.41, %.42
  %.47 = fmul <8 x float> %.42, %.41
  %.48 = fadd <8 x float> %.46, %.47
  %.49 = mul i64 %.30, 8
  %.50 = getelementptr i8, ptr %out.ptr, i64 %.49
  %.51 = shufflevector <8 x float> %.45, <8 x float> %.48, <16 x i32> <i32 0, i32 8, i32 1, i32 9, i32 2, i32 10, i32 3, i32 11, i32 4, i32 12, i32 5, i32 13, i32 6, i32 14, i32 7, i32 15>
  %.52 = shufflevector <8 x i1> %.36, <8 x i1> poison, <16 x i32> <i32 0, i32 0, i32 1, i32 1, i32 2, i32 2, i32 3, i32 3, i32 4, i32 4, i32 5, i32 5, i32 6, i32 6, i32 7, i32 7>
  call void @llvm.masked.store.v16f32.p0(<16 x float> %.51, ptr align 4 %.50, <16 x i1> %.52)
  %.53 = add i64 %.30, 8
  %.54 = icmp slt i64 %.53, %.3
  br i1 %.54, label %loop.28, label %done.28
done.28:
  ret void
}

define void @run(ptr %out.ptr, ptr %z.ptr, i64 %n0) #0 {
entry:
  %record = alloca [15 x i64]
  %.1 = getelementptr i64, ptr %record, i64 0
  store ptr %out.ptr, ptr %.1, align 8
  %.2 = getelementptr i64, ptr %record, i64 1
  store ptr %z.ptr, ptr %.2, align 8
  %.3 = getelementptr i64, ptr %record, i64 2
  store i64 %n0, ptr %.3, align 8
  %.4 = icmp eq i64 %n0, 0
  br i1 %.4, label %leave, label %work
work:
  %.5 = getelementptr i64, ptr %record, i64 6
  store i64 %n0, ptr %.5, align 8
  %.6 = icmp sgt i64 %n0, 33333
  br i1 %.6, label %then.7, label %done.7
then.7:
  %.8 = getelementptr i64, ptr %record, i64 6
  store i64 13312, ptr %.8, align 8
  %.9 = add i64 %n0, 13311
  %.10 = udiv i64 %.9, 13312
  call void @facula_parallel(ptr @task, ptr %record, i64 %.10)
  br label %leave
never.11:
  br label %done.7
done.7:
  call void @task(ptr %record, i64 0)
  br label %leave
leave:
  ret void
}

attributes #0 = { nounwind "prefer-vector-width"="512" "min-legal-vector-width"="512" }
